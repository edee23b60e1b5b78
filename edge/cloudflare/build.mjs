// Bundles the Workers for bare workerd into dist/. Wrangler makes its own bundle of the same sources.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { build } from "esbuild";

const here = import.meta.dirname;
const bundled = await build({
  entryPoints: {
    "price-feed": "src/price_feed.ts",
    coordinator: "src/coordinator_worker.ts",
    "coordinator-for-tests": "test/resettable.ts",
    control: "test/control.ts",
  },
  absWorkingDir: here,
  outdir: "dist",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  write: false,
  format: "esm",
  target: "es2024",
  external: ["cloudflare:*"],
  sourcemap: "inline",
  logLevel: "warning",
});

mkdirSync(join(here, "dist"), { recursive: true });
for (const { path, text } of bundled.outputFiles) {
  if (text !== textOf(path)) {
    // Whole or not at all: another run may be reading it.
    const temporary = `${path}.${process.pid}`;
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  }
}

function textOf(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
