/** Completion in shells: a script that asks `touchstone complete -- WORDS` what may come, and names files where nothing else may. */
import { Argument, type Command, type Option } from 'commander';
import { newCommand } from './options.js';

/** No script evaluates what has been typed. */
const SCRIPTS = {
  bash: `# In ~/.bashrc: source <(touchstone completion bash)
_touchstone() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("$line")
  done < <(touchstone complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _touchstone touchstone
`,
  zsh: `#compdef touchstone
# In ~/.zshrc, after compinit: source <(touchstone completion zsh)
_touchstone() {
  local -a found
  found=("\${(@f)$(touchstone complete --about : -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then
    _describe -V touchstone found
  else
    _files
  fi
}
compdef _touchstone touchstone
`,
  fish: `# In ~/.config/fish/config.fish: touchstone completion fish | source
function __touchstone
    set -l words (commandline -opc)[2..] (commandline -ct)
    set -l found (touchstone complete --about \\t -- $words 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c touchstone -f -a '(__touchstone)'
`,
} as const;

type Shell = keyof typeof SCRIPTS;

export function completionCommand(): Command {
  return newCommand('completion')
    .description('print a script that lets a shell complete commands, options and their values')
    .addArgument(new Argument('<shell>', 'which shell').choices(Object.keys(SCRIPTS)))
    .addHelpText(
      'after',
      '\nbash, in ~/.bashrc:   source <(touchstone completion bash)\nzsh, in ~/.zshrc:     source <(touchstone completion zsh)\nfish, in config.fish: touchstone completion fish | source',
    )
    .action((shell: Shell) => void process.stdout.write(SCRIPTS[shell]));
}

/** What the scripts ask. */
export function completeCommand(program: Command): Command {
  return newCommand('complete')
    .argument('[words...]', 'what has been typed after touchstone, the last word unfinished')
    .option('--about <separator>', 'say what each is, behind this separator')
    .action((words: string[], { about }: { about?: string }) => {
      const found = candidates(program, words);
      const lines = found.map(({ name, text }) => (about === undefined ? name : described(name, text, about)));
      process.stdout.write(lines.map((line) => `${line}\n`).join(''));
    });
}

function described(name: string, text: string, separator: string): string {
  if (text === '') return name;
  const mark = separator === '\\t' ? '\t' : separator;
  return `${name.replaceAll(mark, `\\${mark}`)}${mark}${text}`;
}

interface Candidate {
  readonly name: string;
  readonly text: string;
}

/** What the last word may become; nothing where it may be any text, or a file. */
function candidates(program: Command, words: readonly string[]): Candidate[] {
  // bash gives --a=b as three words, others as one.
  const apart = words
    .flatMap((word) => /^(--[\w-]+)=(.*)$/s.exec(word)?.slice(1) ?? [word])
    .filter((word) => word !== '=');
  const last = words.at(-1) === '=' ? '' : (apart.at(-1) ?? '');
  const before = words.at(-1) === '=' ? apart : apart.slice(0, -1);
  const joined = /^--[\w-]+=/.exec(words.at(-1) ?? '')?.[0] ?? '';
  const found = all(placeOf(program, before), last).filter(({ name }) => name.startsWith(last));
  return found.map(({ name, text }) => ({ name: joined + name, text }));
}

function all({ command, option, given, ended }: Place, last: string): Candidate[] {
  const help = command.createHelp();
  if (option) return (option.argChoices ?? []).map((name) => ({ name, text: '' }));
  if (last.startsWith('-') && !ended) {
    return help.visibleOptions(command).flatMap(({ long, description: text }) => (long ? [{ name: long, text }] : []));
  }
  const inner = help
    .visibleCommands(command)
    .map((one) => ({ name: one.name(), text: one.summary() || one.description() }));
  const choices = command.registeredArguments[given]?.argChoices ?? [];
  return [...inner, ...choices.map((name) => ({ name, text: '' }))];
}

interface Place {
  /** That the words have come to. */
  readonly command: Command;
  /** Whose value is next. */
  readonly option: Option | null;
  /** Arguments of the command that are there. */
  readonly given: number;
  /** By `--`, after which everything is an argument. */
  readonly ended: boolean;
}

function placeOf(program: Command, words: readonly string[]): Place {
  let place: Place = { command: program, option: null, given: 0, ended: false };
  for (const word of words) {
    const { command, option, given, ended } = place;
    const inner = command.commands.find((one) => one.name() === word);
    if (option) place = { ...place, option: null };
    else if (word === '--' && !ended) place = { ...place, ended: true };
    else if (word.startsWith('-') && !ended) {
      const named = command.options.find((one) => one.required && [one.short, one.long].includes(word));
      place = { ...place, option: named ?? null };
    } else place = inner ? { ...place, command: inner, given: 0 } : { ...place, given: given + 1 };
  }
  return place;
}
