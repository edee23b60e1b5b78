// For tests alone: objects that can be told to fail, as they do where their machine goes away.

import { Coordinator as RealCoordinator } from "../src/coordinator";
import { Shard as RealShard } from "../src/shard";

export class Coordinator extends RealCoordinator {
  readonly #life = crypto.randomUUID();

  /** Another one after each eviction. */
  life(): string {
    return this.#life;
  }

  reset(): void {
    this.ctx.abort("a test resets the object");
  }
}

export class Shard extends RealShard {
  reset(): void {
    this.ctx.abort("a test resets the object");
  }
}

export { default } from "../src/coordinator_worker";
