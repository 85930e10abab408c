/**
 * May the query at one absolute position see the key at another? A rule knows positions alone: nothing of heads, of storage,
 * or of how many tokens are computed together.
 */
export interface Visibility {
  readonly name: string;
  sees(query: number, key: number): boolean;
}
