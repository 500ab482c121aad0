// SPDX-License-Identifier: Apache-2.0
// The npm client `ollama`, unmodified, for tests/system/test_clients.py.
// usage: node ollama.js HOST MODEL PROMPT TOKENS SCENARIO [KEY]; prints one JSON value per line.
const { Ollama } = require("ollama");

const [host, model, prompt, tokens, scenario, key] = process.argv.slice(2);
const client = new Ollama({ host, headers: key ? { Authorization: `Bearer ${key}` } : {} });
const options = { num_predict: Number(tokens), temperature: 0 };
const messages = [{ role: "user", content: prompt }];
const say = (value) => console.log(JSON.stringify(value));

async function sayAll(stream) {
  for await (const part of stream) say(part);
}

async function leave(stream, abort) {
  for await (const part of stream) {
    say(part);
    abort(stream);
    break;
  }
  // Only the end of stdin ends the process: what the test then sees is the abort's doing.
  for await (const _ of process.stdin);
}

const scenarios = {
  generate: async () => say(await client.generate({ model, prompt, options })),
  generateStream: async () => sayAll(await client.generate({ model, prompt, options, stream: true })),
  chat: async () => say(await client.chat({ model, messages, options })),
  chatStream: async () => sayAll(await client.chat({ model, messages, options, stream: true })),
  embed: async () => say(await client.embed({ model, input: [prompt, "blue"] })),
  embeddings: async () => say(await client.embeddings({ model, prompt })),
  list: async () => say(await client.list()),
  show: async () => say(await client.show({ model })),
  ps: async () => say(await client.ps()),
  version: async () => say(await client.version()),
  pull: async () => sayAll(await client.pull({ model, stream: true })),
  abortAll: async () => leave(await client.chat({ model, messages, options, stream: true }), () => client.abort()),
  abortOne: async () => leave(await client.generate({ model, prompt, options, stream: true }), (s) => s.abort()),
};

scenarios[scenario]().catch((error) => {
  say({ raised: error.name, status: error.status_code, text: error.message });
});
