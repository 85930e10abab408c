/** An XML document that is well formed, as its tags: names, attributes, and the texts between them. */
import { expect } from 'vitest';

export interface Tag {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** What stands directly within it. */
  text: string;
}

/** Fails on tags that do not close each other, attributes without quotes, and characters that are not escaped. */
export function tagsOf(document: string): Tag[] {
  const tags: Tag[] = [];
  const open: Tag[] = [];
  const pattern = /<(\/?)([a-z][a-z0-9]*)((?: [a-z:A-Z-]+="[^"<]*")*)(\/?)>|([^<>]+)/gy;
  while (pattern.lastIndex < document.length) {
    const at = pattern.lastIndex;
    const found = pattern.exec(document);
    expect(found, `at ${document.slice(at, at + 80)}`).not.toBeNull();
    const [whole, closing, name, attributes, empty, text] = found!;
    expect(whole.replace(/&(amp|lt|gt|quot);/g, ''), whole).not.toContain('&');
    if (text !== undefined) {
      if (text.trim() !== '') open.at(-1)!.text += text;
    } else if (closing) expect(open.pop()?.name).toBe(name);
    else {
      const pairs = [...attributes!.matchAll(/([a-z:A-Z-]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]);
      const tag = { name: name!, attributes: Object.fromEntries(pairs), text: '' };
      tags.push(tag);
      if (!empty) open.push(tag);
    }
  }
  expect(open).toEqual([]);
  return tags;
}
