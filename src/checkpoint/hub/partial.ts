/** A file that is being received: hashed as it is written, and renamed to a blob when all of it is right. */
import { createHash, type Hash } from 'node:crypto';
import { constants, type FileHandle, open, rename, rm } from 'node:fs/promises';
import { claim, release } from './claims.js';
import type { RemoteFile } from './repository.js';

const PIECE = 1 << 22;

export class PartialFile {
  /** Bytes that are there. */
  received = 0;
  private hash: Hash;
  private readonly handle: FileHandle;
  private readonly path: string;
  private readonly blob: string;
  private readonly file: RemoteFile;

  private constructor(handle: FileHandle, path: string, blob: string, file: RemoteFile) {
    this.handle = handle;
    this.path = path;
    this.blob = blob;
    this.file = file;
    this.hash = hashOf(file);
  }

  /** Goes on with what an earlier attempt left, which is hashed first; begins where there is nothing. */
  static async open(blob: string, file: RemoteFile, signal: AbortSignal | null): Promise<PartialFile> {
    const path = await claim(blob);
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT);
    const partial = new PartialFile(handle, path, blob, file);
    try {
      await partial.readAgain(signal);
    } catch (error) {
      await partial.keep();
      throw error;
    }
    return partial;
  }

  /** Takes the next bytes. @returns whether more may come; what is more than the file holds makes it wrong, and is not written */
  async append(bytes: Uint8Array): Promise<boolean> {
    this.hash.update(bytes);
    const room = bytes.subarray(0, this.file.size - this.received);
    for (let done = 0; done < room.length; ) {
      const { bytesWritten } = await this.handle.write(room, done, room.length - done, this.received);
      done += bytesWritten;
      this.received += bytesWritten;
    }
    return room.length === bytes.length;
  }

  /** Forgets everything. */
  async restart(): Promise<void> {
    await this.handle.truncate(0);
    this.received = 0;
    this.hash = hashOf(this.file);
  }

  /** Makes it the blob if size and digest are right, and removes it otherwise. @returns the digest that it has */
  async finish(): Promise<string> {
    const digest = this.hash.digest('hex');
    const right = digest === this.file.oid && this.received === this.file.size;
    if (right) await this.handle.sync();
    await this.handle.close();
    if (right) await rename(this.path, this.blob);
    else await rm(this.path, { force: true });
    return digest;
  }

  /** Leaves it for another time. */
  async keep(): Promise<void> {
    await this.handle.close();
    await release(this.path, this.blob);
  }

  private async readAgain(signal: AbortSignal | null): Promise<void> {
    const { size } = await this.handle.stat();
    if (size > this.file.size) return this.restart();
    const buffer = new Uint8Array(Math.min(PIECE, size));
    while (this.received < size) {
      signal?.throwIfAborted();
      const { bytesRead } = await this.handle.read(buffer, 0, buffer.length, this.received);
      if (bytesRead === 0) break;
      this.hash.update(buffer.subarray(0, bytesRead));
      this.received += bytesRead;
    }
  }
}

/** Git's digest of a blob begins with its kind and its size. */
function hashOf({ digest, size }: RemoteFile): Hash {
  return digest === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}
