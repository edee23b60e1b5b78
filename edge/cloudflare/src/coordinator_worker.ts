// The Worker that has the objects. Nobody reaches it from outside: `price-feed` is bound to its classes.

export { Coordinator } from "./coordinator";
export { Shard } from "./shard";

export default {
  fetch(): Response {
    return new Response("the way in is the Worker price-feed\n", { status: 404 });
  },
} satisfies ExportedHandler;
