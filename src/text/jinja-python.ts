/**
 * What @huggingface/jinja has otherwise than jinja2 without an error, put right in the parsed template: the places where it matters become calls of functions of
 * our own. Python's `strip` takes characters and knows other blanks than JavaScript; lengths count code points; `None`, `True` and lists print as Python
 * prints them; a loop over what is undefined goes round no time.
 */

interface Node {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** A parsed template, with Python's ways. */
export function asPython(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(asPython);
  if (typeof node !== 'object' || node === null) return node;
  if (node instanceof Map) return new Map([...node].map(([key, value]) => [asPython(key), asPython(value)]));
  const members = Object.entries(node).map(([name, member]) => {
    const inner = asPython(member);
    return [name, BLOCKS.has(name) && Array.isArray(inner) ? inner.map(printed) : inner];
  });
  const copy = Object.assign(
    Object.create(Object.getPrototypeOf(node) as object) as object,
    Object.fromEntries(members),
  );
  return replacement(copy as Node);
}

/** Members that hold statements, and expressions to be printed. */
const BLOCKS = new Set(['body', 'alternate', 'defaultBlock']);
const SILENT = new Set(
  'Program If For Break Continue Set Macro Comment CallStatement FilterStatement StringLiteral'.split(' '),
);

function printed(node: Node): Node {
  return SILENT.has(node.type) ? node : call('python_str', [list([node])]);
}

function replacement(node: Node): Node {
  const { type } = node;
  if (type === 'For') return overUndefined(node);
  if (type === 'CallExpression') return method(node);
  if (type === 'FilterExpression') return filtered(node);
  return type === 'BinaryExpression' ? binary(node) : node;
}

/** `~` of what is printed, and Python's `==`: lists are equal by their members, and what is undefined is not None. */
function binary(node: Node): Node {
  const { value: operator } = node.operator as { value: string };
  const [left, right] = [node.left as Node, node.right as Node];
  if (operator === '~') return { ...node, left: printed(left), right: printed(right) };
  if (operator !== '==' && operator !== '!=') return node;
  return call(operator === '==' ? 'python_eq' : 'python_ne', [list([left]), list([right])]);
}

/** `for x in operand` becomes `for x in operand | default([])`, and counts how often it goes round. */
function overUndefined(loop: Node): Node {
  const node = { ...loop, body: [call('python_round', []), ...(loop.body as Node[])] };
  const from = loop.iterable as Node;
  if (from.type !== 'SelectExpression') return { ...node, iterable: orNothing(from) };
  return { ...node, iterable: { ...from, lhs: orNothing(from.lhs as Node) } };
}

function orNothing(operand: Node): Node {
  return { type: 'FilterExpression', operand, filter: call('default', [list([])]) };
}

/** `text.strip(...)` and its like. */
function method(node: Node): Node {
  const { object, property, computed } = node.callee as Node;
  const name = computed ? undefined : (property as Node | undefined)?.value;
  if (name === 'capitalize') return call('python_capitalize', [object as Node]);
  if (name !== 'strip' && name !== 'lstrip' && name !== 'rstrip') return node;
  return call(`python_${name}`, [object as Node, ...(node.args as Node[])]);
}

function filtered(node: Node): Node {
  const { operand, filter } = node as unknown as { operand: Node; filter: Node };
  const { value: name } = (filter.type === 'CallExpression' ? filter.callee : filter) as Node;
  const args = filter.type === 'CallExpression' ? (filter.args as Node[]) : [];
  if (name === 'trim') return call('python_strip', [printed(operand), ...args]);
  if (name === 'string') return printed(operand);
  if (name === 'capitalize') return call('python_capitalize', [printed(operand)]);
  if (name === 'title') return call('python_title', [printed(operand)]);
  return name === 'length' || name === 'count' ? call('python_len', [list([operand])]) : node;
}

function call(name: string, args: readonly Node[]): Node {
  return { type: 'CallExpression', callee: { type: 'Identifier', value: name }, args };
}

function list(value: readonly Node[]): Node {
  return { type: 'ArrayLiteral', value };
}

/** A value of the library's interpreter. */
interface Value {
  readonly type: string;
  readonly value: unknown;
}

/** The functions that a rewritten template calls. */
export const PYTHON = {
  python_str: ([value]: readonly [Value]) => (value.type === 'StringValue' ? value.value : str(value)),
  python_strip: (text: unknown, characters?: unknown) => stripped(text, characters, true, true),
  python_lstrip: (text: unknown, characters?: unknown) => stripped(text, characters, true, false),
  python_rstrip: (text: unknown, characters?: unknown) => stripped(text, characters, false, true),
  /** As the filter of jinja2: letters after a blank, a hyphen or an opening bracket. */
  python_title: (text: string) =>
    text.replace(/[^-\s({[<]+/g, ([first, ...rest]) => first!.toUpperCase() + rest.join('').toLowerCase()),
  python_capitalize: ([first = '', ...rest]: string) => first.toUpperCase() + rest.join('').toLowerCase(),
  python_eq: ([left]: readonly [Value], [right]: readonly [Value]) => equal(left, right),
  python_ne: ([left]: readonly [Value], [right]: readonly [Value]) => !equal(left, right),
  python_len: ([{ type, value }]: readonly [Value]) => {
    if (type === 'UndefinedValue') return 0;
    if (typeof value === 'string') return [...value].length;
    if (Array.isArray(value)) return value.length;
    if (value instanceof Map) return value.size;
    throw new Error(`${type.replace('Value', '')} has no length`);
  },
};

/** What `str.isspace` holds for, of one character. */
const BLANKS =
  '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000';

function stripped(text: unknown, characters: unknown, left: boolean, right: boolean): string {
  if (typeof text !== 'string') throw new Error('strip is of texts alone');
  const drop = new Set(typeof characters === 'string' ? characters : BLANKS);
  const parts = [...text];
  let [from, to] = [0, parts.length];
  while (left && from < to && drop.has(parts[from]!)) from++;
  while (right && to > from && drop.has(parts[to - 1]!)) to--;
  return parts.slice(from, to).join('');
}

const NUMBERS = new Set(['IntegerValue', 'FloatValue', 'BooleanValue']);

function equal(a: Value, b: Value): boolean {
  if (NUMBERS.has(a.type) && NUMBERS.has(b.type)) return Number(a.value) === Number(b.value);
  if (a.type !== b.type) return false;
  if (Array.isArray(a.value) && Array.isArray(b.value)) {
    const others = b.value as Value[];
    return a.value.length === others.length && (a.value as Value[]).every((one, i) => equal(one, others[i]!));
  }
  if (!(a.value instanceof Map) || !(b.value instanceof Map)) return a.value === b.value;
  const others = b.value as Map<string, Value>;
  const members = [...(a.value as Map<string, Value>)];
  return (
    members.length === others.size && members.every(([key, one]) => others.has(key) && equal(one, others.get(key)!))
  );
}

/** Python's `str` of what is no text. */
function str(value: Value): string {
  if (value.type === 'UndefinedValue') return '';
  if (value.type === 'NullValue') return 'None';
  if (value.type === 'BooleanValue') return value.value ? 'True' : 'False';
  if (value.type === 'StringValue') return repr(value.value as string);
  if (value.type === 'ArrayValue') return `[${(value.value as Value[]).map(str).join(', ')}]`;
  if (value.type !== 'ObjectValue') return String(value);
  const members = [...(value.value as ReadonlyMap<string, Value>)];
  return `{${members.map(([key, member]) => `${repr(key)}: ${str(member)}`).join(', ')}}`;
}

/** A text in quotation marks, single ones where it can be. */
function repr(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escapes: Readonly<Record<string, string>> = {
    '\\': '\\\\',
    '\n': '\\n',
    '\r': '\\r',
    '\t': '\\t',
    [mark]: `\\${mark}`,
  };
  return mark + [...text].map((one) => escapes[one] ?? one).join('') + mark;
}
