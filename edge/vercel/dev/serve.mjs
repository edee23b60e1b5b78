// Serves functions as `vercel dev` does, by the same code of @vercel/node, without a login.
//
//   node dev/serve.mjs api/publish.ts api/token.ts
//
// Prints one line of JSON on stdout when all of them answer: {"api/publish.ts": "http://127.0.0.1:PORT", ...}. A server
// answers every path with its one function. Ends with its standard input, or by Ctrl-C.

import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const project = dirname(dirname(fileURLToPath(import.meta.url)));
const entrypoints = process.argv.slice(2);
if (entrypoints.length === 0) {
  console.error("which functions? for example: node dev/serve.mjs api/publish.ts api/token.ts");
  process.exit(2);
}
const preload = new URL("die_with_parent.mjs", import.meta.url).href;
process.env.NODE_OPTIONS = `--import ${preload} ${process.env.NODE_OPTIONS ?? ""}`.trim();

// Loading it takes a second: who called wrongly is told before.
const { default: node } = await import("@vercel/node");

async function serve(entrypoint) {
  const server = await node.startDevServer({
    entrypoint,
    workPath: project,
    repoRootPath: project,
    files: {},
    config: {},
    meta: { isDev: true, env: {}, buildEnv: {} },
  });
  return [entrypoint, `http://127.0.0.1:${server.port}`];
}

process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
console.log(JSON.stringify(Object.fromEntries(await Promise.all(entrypoints.map(serve)))));
