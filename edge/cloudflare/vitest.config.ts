import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [
    cloudflareTest({
      // The classes and their bindings are those that are deployed; the settings are small, so that bounds are met.
      wrangler: { configPath: "./coordinator/wrangler.jsonc" },
      main: "./test/resettable.ts",
      miniflare: { bindings: { SOCKETS_PER_SHARD: "2", HISTORY: "4", HISTORY_BYTES: "400", MAX_CHANNELS: "50" } },
    }),
  ],
  test: { include: ["test/**/*.test.ts"], testTimeout: 10_000 },
});
