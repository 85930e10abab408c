/** How a model of the hub is named: owner/name[@revision], or one of the old names without an owner. */

export interface HubModel {
  /** `owner/name`, or `name` */
  readonly id: string;
  /** A branch, a tag, or a commit. */
  readonly revision: string;
}

const PART = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$/;
const REVISION = /^[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:\/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$/;
const COMMIT = /^[0-9a-f]{40}$/;

/** Reads a name by the rules of huggingface_hub's `validate_repo_id`; null if it can only be a path. */
export function hubModelOf(text: string): HubModel | null {
  const [id = '', ...revisions] = text.split('@');
  const revision = revisions.length === 0 ? 'main' : revisions.join('@');
  const parts = id.split('/');
  const named = parts.length <= 2 && parts.every((part) => PART.test(part));
  if (!named || /--|\.\./.test(id) || id.endsWith('.git') || !isRevision(revision)) return null;
  return { id, revision };
}

/** Whether a text may name a revision. It becomes a path in the cache, so it must not lead out of it. */
export function isRevision(text: string): boolean {
  return REVISION.test(text) && !text.includes('..') && text.length <= 200;
}

/** Whether a revision is a commit, whose files never change. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}
