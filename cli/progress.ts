/** Bars on standard error, where that is a terminal. */
import { type Options, SingleBar } from 'cli-progress';

export interface ProgressBar {
  update(done: number, total: number): void;
  /** Takes the bar away. */
  end(): void;
}

/** What takes less time than this gets no bar. */
const PATIENCE_MS = 300;

const none: ProgressBar = { update: () => {}, end: () => {} };

/**
 * @param show a number of what is counted, in words
 * @param options `patience` in milliseconds; the cursor may stay where nothing could bring it back
 */
export function progressBar(
  label: string,
  show: (value: number) => string = String,
  { patience = PATIENCE_MS, hideCursor = true }: { patience?: number; hideCursor?: boolean } = {},
): ProgressBar {
  if (!process.stderr.isTTY) return none;
  const options: Options = {
    format: `${label} [{bar}] {percentage}% | {value} of {total} | {eta_formatted} left`,
    formatValue: (value, _, type) => (type === 'value' || type === 'total' ? show(value) : String(value)),
    clearOnComplete: true,
    hideCursor,
    gracefulExit: false, // signals are main's
    linewrap: null,
  };
  const bar = new SingleBar(options);
  const began = performance.now();
  const stop = () => bar.stop();
  return {
    update(done, total) {
      if (bar.isActive) {
        bar.setTotal(total);
        bar.update(done);
      } else if (performance.now() - began >= patience && done < total) {
        bar.start(total, done);
        process.once('exit', stop); // a bar hides the cursor
      }
    },
    end() {
      if (bar.isActive) bar.stop();
      process.removeListener('exit', stop);
    },
  };
}

/** Runs work with a bar. */
export async function withBar<Result>(bar: ProgressBar, work: (bar: ProgressBar) => Promise<Result>): Promise<Result> {
  try {
    return await work(bar);
  } finally {
    bar.end();
  }
}
