/**
 * What a family calls a part of its config.
 * @throws Error, a fault of the family's file, where its table of names has none for it
 */
export function named<Name>(name: Name | undefined, part: string): Name {
  if (name !== undefined) return name;
  throw new Error(`the config has ${part}, and the family's table of names has no name for it`);
}
