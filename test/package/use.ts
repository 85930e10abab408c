/** What a project that depends on the package might do; `.ci/run` compiles it there, against the package's types, and runs it. */
import {
  type Comparison,
  Conversation,
  chatTemplate,
  compare,
  counterpart,
  dumpOf,
  embeddedModel,
  type GeneratedToken,
  generate,
  loadModel,
  loadTokenizer,
  type Model,
  modelFolder,
  trace,
} from 'touchstone-lm';

const folder = await modelFolder(embeddedModel());
const model: Model = loadModel(folder, { cache: 'paged' });
const tokenizer = loadTokenizer(folder, model.config.vocabulary);
if (!tokenizer) throw new Error('the embedded checkpoint has a tokenizer');
const template = chatTemplate('{{ messages[0].content }}', {}, 'template');
const conversation = new Conversation(model, tokenizer, template, { messages: [{ role: 'user', content: 'It was' }] });
const tokens: GeneratedToken[] = [];
for await (const token of generate(model, conversation.prompt(), conversation.cache, { maxNewTokens: 4 })) {
  tokens.push(token);
}
if (tokens.length !== 4) throw new Error(`expected 4 tokens, got ${tokens.length}`);

const golden = await trace(model, [0, 42, 7], { noiseOf: counterpart(model, 'float64') });
const logits = golden.tensors.get('logits')!.read();
const theirs = dumpOf({ ids: { shape: [3], data: [0, 42, 7] }, logits: { shape: [3, 1024], data: logits } });
const found: Comparison[] = [await compare(theirs, golden), await compare(theirs, model)];
if (!found.every(({ verdict }) => verdict === 'identical')) throw new Error(found.map(({ verdict }) => verdict).join());
