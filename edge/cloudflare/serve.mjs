// Runs both Workers here, on bare workerd: node serve.mjs [PORT]
// Settings and secrets are environment variables; what the objects keep is in the folder .state, or in STATE.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

import workerdPackage from "workerd";

const here = import.meta.dirname;
const port = Number(process.argv[2] ?? 8787);
if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error("node serve.mjs [PORT]: a number from 0 to 65535, 8787 unless told; 0 takes a free one");
  process.exit(2);
}
await import("./build.mjs");

const state = process.env.STATE ?? join(here, ".state");
mkdirSync(state, { recursive: true });
const key = process.env.PUBLISH_KEY ?? randomBytes(24).toString("base64url");
const workerd = spawn(
  workerdPackage.default,
  [
    "serve",
    join(here, "config.capnp"),
    "config",
    `--directory-path=disk=${state}`,
    `--socket-addr=http=127.0.0.1:${port}`,
    "--control-fd=3",
  ],
  { env: { ...process.env, PUBLISH_KEY: key }, stdio: ["ignore", "inherit", "inherit", "pipe"] },
);
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => workerd.kill("SIGKILL"));
}
process.on("exit", () => workerd.kill("SIGKILL"));
workerd.on("exit", (code) => {
  process.exitCode = code ?? 0;
});
createInterface({ input: workerd.stdio[3] }).on("line", (line) => {
  const event = JSON.parse(line);
  if (event.event === "listen") {
    console.log(`clients:    ws://127.0.0.1:${event.port}/ws`);
    const address = `127.0.0.1:${event.port}`;
    console.log(`publishers: http://${address}/api/publish, ws://${address}/publisher?name=NAME`);
    // One of the environment is the user's, and not for a terminal.
    console.log(`X-API-Key:  ${process.env.PUBLISH_KEY === undefined ? key : "as in PUBLISH_KEY"}`);
  }
});
