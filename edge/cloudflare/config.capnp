# The two Workers on bare workerd, no account and no network needed:
#   workerd serve config.capnp config --directory-path disk=FOLDER [--socket-addr http=127.0.0.1:8787]
# Settings and secrets are environment variables here. `npm run build` makes what is embedded.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "price-feed", worker = .priceFeed),
    (name = "coordinator", worker = .coordinator),
    (name = "disk", disk = (writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "price-feed")],
);

# With a way to have objects fail, and to call what has no way in from outside.
const forTests :Workerd.Config = (
  services = [
    (name = "price-feed", worker = .priceFeed),
    (name = "coordinator", worker = .coordinatorForTests),
    (name = "control", worker = .control),
    (name = "disk", disk = (writable = true)),
  ],
  sockets = [
    (name = "http", address = "127.0.0.1:0", http = (), service = "price-feed"),
    (name = "control", address = "127.0.0.1:0", http = (), service = "control"),
  ],
);

const compatibilityDate :Text = "2026-08-01";

const objects :List(Workerd.Worker.DurableObjectNamespace) = [
  (className = "Coordinator", uniqueKey = "coordinator-v1", enableSql = true),
  (className = "Shard", uniqueKey = "shard-v1", enableSql = true),
];

const elsewhere :List(Workerd.Worker.Binding) = [
  (name = "COORDINATOR", durableObjectNamespace = (className = "Coordinator", serviceName = "coordinator")),
  (name = "SHARD", durableObjectNamespace = (className = "Shard", serviceName = "coordinator")),
];

const settings :List(Workerd.Worker.Binding) = [
  (name = "COORDINATOR", durableObjectNamespace = "Coordinator"),
  (name = "SHARD", durableObjectNamespace = "Shard"),
  (name = "NAMESPACES", fromEnvironment = "NAMESPACES"),
  (name = "HISTORY", fromEnvironment = "HISTORY"),
  (name = "HISTORY_BYTES", fromEnvironment = "HISTORY_BYTES"),
  (name = "MAX_CHANNELS", fromEnvironment = "MAX_CHANNELS"),
  (name = "MAX_PAYLOAD", fromEnvironment = "MAX_PAYLOAD"),
  (name = "MAX_MESSAGE", fromEnvironment = "MAX_MESSAGE"),
  (name = "MAX_SUBSCRIPTIONS", fromEnvironment = "MAX_SUBSCRIPTIONS"),
  (name = "MAX_LAG", fromEnvironment = "MAX_LAG"),
  (name = "SOCKETS_PER_SHARD", fromEnvironment = "SOCKETS_PER_SHARD"),
  (name = "MAX_SHARDS", fromEnvironment = "MAX_SHARDS"),
  (name = "AUTHENTICATE_TIMEOUT", fromEnvironment = "AUTHENTICATE_TIMEOUT"),
  (name = "LEEWAY", fromEnvironment = "LEEWAY"),
  (name = "COMMANDS_PER_SECOND", fromEnvironment = "COMMANDS_PER_SECOND"),
  (name = "TOKEN_KEY", fromEnvironment = "TOKEN_KEY"),
];

const priceFeed :Workerd.Worker = (
  compatibilityDate = .compatibilityDate,
  modules = [(name = "price-feed.mjs", esModule = embed "dist/price-feed.mjs")],
  bindings = [
    (name = "COORDINATOR", durableObjectNamespace = (className = "Coordinator", serviceName = "coordinator")),
    (name = "SHARD", durableObjectNamespace = (className = "Shard", serviceName = "coordinator")),
    (name = "PUBLISH_KEY", fromEnvironment = "PUBLISH_KEY"),
    (name = "TOKEN_KEY", fromEnvironment = "TOKEN_KEY"),
    (name = "ALLOWED_ORIGINS", fromEnvironment = "ALLOWED_ORIGINS"),
    (name = "MAX_PAYLOAD", fromEnvironment = "MAX_PAYLOAD"),
    (name = "MAX_MESSAGE", fromEnvironment = "MAX_MESSAGE"),
    (name = "LEEWAY", fromEnvironment = "LEEWAY"),
  ],
);

const coordinator :Workerd.Worker = (
  compatibilityDate = .compatibilityDate,
  modules = [(name = "coordinator.mjs", esModule = embed "dist/coordinator.mjs")],
  durableObjectNamespaces = .objects,
  durableObjectStorage = (localDisk = "disk"),
  bindings = .settings,
);

const coordinatorForTests :Workerd.Worker = (
  compatibilityDate = .compatibilityDate,
  modules = [(name = "coordinator-for-tests.mjs", esModule = embed "dist/coordinator-for-tests.mjs")],
  durableObjectNamespaces = .objects,
  durableObjectStorage = (localDisk = "disk"),
  bindings = .settings,
);

const control :Workerd.Worker = (
  compatibilityDate = .compatibilityDate,
  modules = [(name = "control.mjs", esModule = embed "dist/control.mjs")],
  bindings = .elsewhere,
);
