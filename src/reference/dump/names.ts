export function canonicalNames(_name: string): readonly string[] {
  return ['embeddings'].includes(_name) ? [_name] : [];
}
