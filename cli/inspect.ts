import type { Command } from 'commander';
import { embeddedModel } from '../src/embedded.js';
import { type Inspection, inspect } from '../src/reference/inspect.js';
import { loading } from './load-model.js';
import { folderOf, MODEL } from './model-folder.js';
import { ignoreOption, newCommand, ropeLengthOption } from './options.js';

export function inspectCommand(): Command {
  return newCommand('inspect')
    .description(
      "print a checkpoint's architecture, parameters, dtypes, cache bytes a token, and what is unusual about it",
    )
    .argument('[model]', `${MODEL} (default: the embedded one)`)
    .addOption(ropeLengthOption())
    .addOption(ignoreOption())
    .option('--json', 'print one JSON object')
    .action(
      async (model: string | undefined, flags: { ropeLength?: number; ignoreConfigKey?: string[]; json?: true }) => {
        const folder = model === undefined ? embeddedModel() : await folderOf(model, 'logits');
        const { ropeLength, ignoreConfigKey: ignoreConfigKeys } = flags;
        const found = loading((progress) => inspect(folder, { ropeLength, ignoreConfigKeys, progress }));
        process.stdout.write(flags.json ? `${JSON.stringify(found)}\n` : text(found));
      },
    );
}

function text({ architecture: of, parameters, dtypes, kvBytesPerToken, unusual }: Inspection): string {
  const number = (value: number) => value.toLocaleString('en-US');
  const list = <Value>(values: Readonly<Record<string, Value>>, show: (name: string, value: Value) => string) =>
    Object.entries(values)
      .map(([name, value]) => show(name, value))
      .join(', ');
  const lines: [string, string][] = [
    ['family', of.family],
    ['layers (L)', number(of.layers)],
    ['model width (D)', number(of.width)],
    ['attention', `${of.attention}, ${of.visibility}`],
    ['query heads (H)', number(of.queryHeads)],
    ...(of.keyValueHeads === null ? [] : [['key/value heads (G)', number(of.keyValueHeads)] as [string, string]]),
    ['head dim (K)', number(of.headDim)],
    ['positions', of.positions],
    ['feed-forward (F)', `${of.feedForward}, ${of.activation}`],
    ['norm', `${of.norm}, eps ${of.normEps}, ${of.normPlacement}`],
    ['vocabulary (N)', number(of.vocabulary)],
    ['context', `${number(of.context)} tokens`],
    ['output head', of.tiedHead ? 'the embedding (tied)' : 'of its own'],
    ['parameters', number(parameters)],
    ['dtypes', list(dtypes, (dtype, { tensors, bytes }) => `${dtype} (${tensors} tensors, ${number(bytes)} bytes)`)],
    ['KV cache', list(kvBytesPerToken, (dtype, bytes) => `${number(bytes)} bytes a token in ${dtype}`)],
  ];
  const width = Math.max(...lines.map(([name]) => name.length)) + 2;
  const table = lines.map(([name, value]) => `${name.padEnd(width)}${value}\n`).join('');
  return `${table}\nunusual:\n${(unusual.length ? unusual : ['nothing']).map((line) => `- ${line}\n`).join('')}`;
}
