/** The npm package has no types. */
declare module 'safetensors' {
  class SafeTensor {
    constructor(buffer: Uint8Array);
    readonly metadata: Map<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
    getTensor(name: string): Uint8Array;
  }
  const exported: { SafeTensor: typeof SafeTensor };
  export default exported;
}
