// Preloaded into the development servers that serve.mjs forks: when it is gone, whatever ended it, so are they.
process.on("disconnect", () => process.exit(0));
