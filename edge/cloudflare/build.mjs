// Bundles the Workers for bare workerd into dist/. Wrangler makes its own bundle of the same sources.

import { build } from "esbuild";

await build({
  entryPoints: {
    "price-feed": "src/price_feed.ts",
    coordinator: "src/coordinator_worker.ts",
    "coordinator-for-tests": "test/resettable.ts",
    control: "test/control.ts",
  },
  absWorkingDir: import.meta.dirname,
  outdir: "dist",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  target: "es2024",
  external: ["cloudflare:*"],
  sourcemap: "inline",
  logLevel: "warning",
});
