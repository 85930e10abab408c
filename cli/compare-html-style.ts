/** How the HTML report looks, and its script. */
import { LEVELS } from './compare-groups.js';

/** Okabe & Ito's colours (2008), darker and lighter where the page asks for it: told apart by those who see no red or green. */
const THEMES = {
  light: { page: '#ffffff', panel: '#f6f8fa', ink: '#1f2328', faint: '#59636e', rule: '#d8dee4', identical: '#7fb8e0', noise: '#bcdcf2', suspicious: '#e0a100', different: '#c8380a', made: '#00795a' }, // biome-ignore format: a table
  dark: { page: '#0d1117', panel: '#161b22', ink: '#e6edf3', faint: '#9198a1', rule: '#30363d', identical: '#2a6a9c', noise: '#1d4563', suspicious: '#f0c040', different: '#ff7a45', made: '#2fd6a3' }, // biome-ignore format: a table
} as const;

const variables = (theme: keyof typeof THEMES) =>
  Object.entries(THEMES[theme])
    .map(([name, colour]) => `--${name}: ${colour};`)
    .join(' ');

/** The further beyond the noise, the stronger; the least is still seen. */
const levels = Array.from({ length: LEVELS.length + 1 }, (_, i) => {
  return `.different.level${i} { fill-opacity: ${(0.45 + (0.55 * i) / LEVELS.length).toFixed(2)}; }`;
}).join(' ');

export const STYLE = `:root { color-scheme: light dark; ${variables('light')} }
@media (prefers-color-scheme: dark) { :root { ${variables('dark')} } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1040px; padding: 24px 20px 64px; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 22px; margin: 0 0 12px; } h2 { font-size: 17px; margin: 36px 0 8px; }
code, .number, .name { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
p, li { overflow-wrap: anywhere; } p { margin: 6px 0; } ul { padding-left: 22px; margin: 6px 0; }
.faint { color: var(--faint); font-size: 13px; }
.verdict { border-left: 6px solid var(--is); background: var(--panel); padding: 12px 16px; border-radius: 4px; }
.verdict p:first-child { font-size: 16px; margin-top: 0; }
.badge { display: inline-block; padding: 1px 9px; border-radius: 10px; background: var(--is); color: var(--page); font-weight: 600; font-size: 13px; white-space: nowrap; }
.word::before { content: "●"; color: var(--is); margin-right: 6px; }
tr:not(.good) .word { font-weight: 600; }
.is-identical, .is-noise { --is: var(--made); } .is-suspicious { --is: var(--suspicious); } .is-different { --is: var(--different); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0; } dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow: auto; max-height: 80vh; } .wide svg { display: block; max-width: none; }
svg text { fill: var(--ink); font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; } svg .tick { fill: var(--faint); font-size: 11px; }
svg .name { font: 11px ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
svg .grid { stroke: var(--rule); } svg .axis { stroke: var(--faint); fill: none; } svg .first { stroke: var(--different); stroke-dasharray: 3 3; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.difference .line { stroke: var(--different); } .difference .mark { fill: var(--different); }
.floor .line { stroke: var(--faint); stroke-dasharray: 5 4; } .floor .mark { fill: var(--faint); }
.made .mark { fill: var(--page); stroke: var(--made); stroke-width: 1.6; }
.cell.identical { fill: var(--identical); } .cell.noise { fill: var(--noise); } .cell.suspicious { fill: var(--suspicious); fill-opacity: 0.85; } .cell.different { fill: var(--different); }
${levels}
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; list-style: none; font-size: 13px; color: var(--faint); } .legend svg { vertical-align: -2px; margin-right: 6px; }
table { border-collapse: collapse; font-size: 13px; width: 100%; } th, td { padding: 3px 8px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
th { position: sticky; top: 0; background: var(--page); z-index: 1; } th:first-child, td:first-child, td.left, th.left { text-align: left; }
th button { all: unset; cursor: pointer; font-weight: 600; } th button:focus-visible { outline: 2px solid var(--made); } th[aria-sort=ascending] button::after { content: " ↑"; } th[aria-sort=descending] button::after { content: " ↓"; }
td.name { max-width: 360px; overflow: hidden; text-overflow: ellipsis; }
.bar { display: inline-block; height: 9px; border-radius: 2px; background: var(--is); vertical-align: 0; margin-right: 6px; } .bars { text-align: left; }
#only:checked ~ .wide tr.good { display: none; }
@media print { .wide { max-height: none; overflow: visible; } }
`;

/** Sorts a table by the column whose head is pressed; the reading order of the tensors comes back with the third press. */
export const SCRIPT = `for (const table of document.querySelectorAll('table')) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const valueOf = (row, c) => row.cells[c].dataset.v ?? row.cells[c].textContent;
  const isNumber = (c) => rows.some((row) => row.cells[c].dataset.v !== undefined);
  heads.forEach((head, c) => {
    const button = document.createElement('button');
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const orders = isNumber(c) ? ['descending', 'ascending', ''] : ['ascending', 'descending', ''];
      const order = orders[orders.indexOf(head.getAttribute('aria-sort') ?? '') + 1] ?? orders[0];
      for (const other of heads) other.removeAttribute('aria-sort');
      if (order) head.setAttribute('aria-sort', order);
      const by = (a, b) => isNumber(c) ? (Number(a) < Number(b) ? -1 : Number(a) > Number(b) ? 1 : 0) : a.localeCompare(b, 'en', { numeric: true });
      const sorted = order ? [...rows].sort((a, b) => by(valueOf(a, c), valueOf(b, c)) * (order === 'ascending' ? 1 : -1)) : rows;
      body.append(...sorted);
    });
  });
}
`;
