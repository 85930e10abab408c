import { RequestError } from '../../src/errors.js';
import { consecutive } from '../streams.js';

/** Which tokens a cache holds, and which a pass under way is adding: the bookkeeping that all caches share. */
export class TokenLog {
  /** Tokens that the pass under way adds. */
  begun = 0;
  private length = 0;
  /** Grows by doubling: 4 bytes a token, outside the garbage collector's heap. */
  private stored = new Int32Array(0);

  get next(): number {
    return this.length;
  }

  get ids(): Int32Array {
    return this.stored.subarray(0, this.length);
  }

  /** The committed and the begun ones. */
  get all(): Int32Array {
    return this.stored.subarray(0, this.length + this.begun);
  }

  /** @throws RequestError, and changes nothing, if a pass is under way or the positions do not follow. */
  expect(positions: Int32Array, ids: readonly number[]): void {
    this.expectIdle();
    const wrong = positions.find((position, i) => position !== this.length + i);
    if (wrong !== undefined) {
      throw new RequestError(`A cache that goes on at position ${this.length} cannot take a token at ${wrong} next.`);
    }
    if (ids.length !== positions.length) {
      throw new RequestError(`${positions.length} positions were begun, and ${ids.length} tokens.`);
    }
  }

  begin(ids: readonly number[]): void {
    const needed = this.length + ids.length;
    if (needed > this.stored.length) {
      const larger = new Int32Array(Math.max(needed, 2 * this.stored.length, 64));
      larger.set(this.ids);
      this.stored = larger;
    }
    this.stored.set(ids, this.length);
    this.begun = ids.length;
  }

  commit(): void {
    this.length += this.begun;
    this.begun = 0;
  }

  abort(): void {
    this.begun = 0;
  }

  /** Forgets what comes at `position` and later. @returns what was forgotten */
  rollback(position: number): Int32Array {
    const removed = consecutive(position, this.length - position);
    this.length = position;
    return removed;
  }

  fork(): TokenLog {
    const copy = new TokenLog();
    copy.begin([...this.ids]);
    copy.commit();
    return copy;
  }

  /** Two passes at once on one cache would write into each other's rows. @throws RequestError if one is under way. */
  expectIdle(): void {
    if (this.begun > 0) throw new RequestError('A pass is under way on this cache; end it with commit or abort first.');
  }

  /** @throws RequestError unless the cache can go back to this position as far as its tokens are concerned. */
  expectEarlier(position: number): void {
    this.expectIdle();
    if (!Number.isInteger(position) || position < 0 || position > this.length) {
      throw new RequestError(`A cache that goes on at position ${this.length} cannot go back to ${position}.`);
    }
  }

  /** @throws RequestError unless the cache is empty. */
  expectEmpty(): void {
    this.expectIdle();
    if (this.length > 0)
      throw new RequestError(`Expected an empty cache; this one goes on at position ${this.length}.`);
  }
}
