/** The npm package has no types. */
declare module 'asciichart' {
  export function plot(series: readonly number[], options?: { height?: number; min?: number; max?: number }): string;
}
