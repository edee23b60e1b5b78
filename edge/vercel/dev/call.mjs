// Calls functions without a server, for tests: each line of standard input is a request, each line of output its answer.
//
//   node --import tsx dev/call.mjs
//
// A request is {"function": "api/publish.ts", "environment": {...}, "method": ..., "headers": {...}, "body": ...}, its
// environment in place of all variables that functions know; an answer is {"status": ..., "headers": {...}, "body": ...}.

import { createInterface } from "node:readline";

const variables = [
  ...["FEED_URL", "FEED_KEY", "PUBLISH_TOKEN", "PUBLISH_CHANNELS", "PUBLISH_TIMEOUT"],
  ...["TOKEN_KEY", "TOKEN_GRANTS", "TOKEN_TTL", "TOKEN_CALLER_SECRET", "TOKEN_AUDIENCE", "TOKEN_ISSUER", "TOKEN_ORIGINS"],
];

for await (const line of createInterface({ input: process.stdin })) {
  const { function: path, environment, method, headers, body } = JSON.parse(line);
  for (const name of variables) delete process.env[name];
  Object.assign(process.env, environment);
  const { default: handler } = await import(new URL(`../${path}`, import.meta.url).href);
  const request = new Request("http://127.0.0.1/", { method, headers, ...(body === null ? {} : { body }) });
  const response = await handler.fetch(request);
  const answer = { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
  console.log(JSON.stringify(answer));
}
