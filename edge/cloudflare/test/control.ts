// For tests alone: what has no way in from outside, as HTTP on a port of its own.

import type { Coordinator, Shard } from "./resettable";

interface Env {
  COORDINATOR: DurableObjectNamespace<Coordinator>;
  SHARD: DurableObjectNamespace<Shard>;
}

export default {
  async fetch(request, env): Promise<Response> {
    const url = new URL(request.url);
    const coordinator = env.COORDINATOR.getByName("main");
    switch (url.pathname) {
      case "/reset":
        // The call fails with the object.
        await coordinator.reset().catch(() => {});
        return new Response("reset\n");
      case "/reset-shard":
        await env.SHARD.getByName(`shard-${url.searchParams.get("number")}`)
          .reset()
          .catch(() => {});
        return new Response("reset\n");
      case "/broadcast": {
        const except = url.searchParams.get("except");
        return Response.json(await coordinator.broadcast(await request.text(), except === null ? {} : { except }));
      }
      case "/life":
        return new Response(await coordinator.life());
      case "/facts":
        return Response.json(await coordinator.facts());
      default:
        return new Response("not found\n", { status: 404 });
    }
  },
} satisfies ExportedHandler<Env>;
