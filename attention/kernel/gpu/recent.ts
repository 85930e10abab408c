/** Values by key. Beyond `limit` the one that was used longest ago goes. */
export class Recent<Value> {
  private readonly values = new Map<string, Value>();
  private readonly limit: number;
  private readonly drop: (value: Value) => void;

  constructor(limit: number, drop: (value: Value) => void) {
    this.limit = limit;
    this.drop = drop;
  }

  get(key: string): Value | undefined {
    const found = this.values.get(key);
    if (found !== undefined) {
      this.values.delete(key); // a Map keeps the order in which keys were set
      this.values.set(key, found);
    }
    return found;
  }

  set(key: string, value: Value): void {
    this.values.set(key, value);
    if (this.values.size <= this.limit) return;
    const [oldest, old] = this.values.entries().next().value!;
    this.values.delete(oldest);
    this.drop(old);
  }
}
