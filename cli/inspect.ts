import type { Command } from 'commander';
import { type Inspection, inspect } from '../src/reference/inspect.js';
import { embeddedModel, newCommand } from './options.js';

export function inspectCommand(): Command {
  return newCommand('inspect')
    .description(
      "print a checkpoint's architecture, parameters, dtypes, cache bytes a token, and what is unusual about it",
    )
    .argument('[model]', 'checkpoint folder in Hugging Face form', embeddedModel())
    .option('--ignore-config-key <key...>', 'a key of config.json that is known not to change the mathematics')
    .option('--json', 'print one JSON object')
    .action((folder: string, flags: { ignoreConfigKey?: string[]; json?: true }) => {
      const found = inspect(folder, flags.ignoreConfigKey ?? []);
      process.stdout.write(flags.json ? `${JSON.stringify(found)}\n` : text(found));
    });
}

function text({ architecture, parameters, dtypes, kvBytesPerToken, unusual }: Inspection): string {
  const number = (value: number) => value.toLocaleString('en-US');
  const lines: [string, string][] = [
    ...Object.entries(architecture).map(([name, value]): [string, string] => [
      name,
      typeof value === 'number' ? number(value) : value,
    ]),
    ['parameters', number(parameters)],
    [
      'dtypes',
      Object.entries(dtypes)
        .map(([dtype, { tensors, bytes }]) => `${dtype} (${tensors} tensors, ${number(bytes)} bytes)`)
        .join(', '),
    ],
    [
      'KV cache',
      Object.entries(kvBytesPerToken)
        .map(([dtype, bytes]) => `${number(bytes)} bytes a token in ${dtype}`)
        .join(', '),
    ],
  ];
  const width = Math.max(...lines.map(([name]) => name.length)) + 2;
  const table = lines.map(([name, value]) => `${name.padEnd(width)}${value}\n`).join('');
  return `${table}${['', 'unusual:', ...(unusual.length ? unusual : ['nothing']).map((line) => `- ${line}`)].join('\n')}\n`;
}
