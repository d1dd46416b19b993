export { type TenantController, type TenantOptions, type Tenants, tenantController } from "./controller.ts";
export { connectEtcd, type Etcd, type EtcdOptions } from "./etcd.ts";
export type { Isolation } from "./isolation.ts";
export type { JoinCredential, NodeIdentity, NodeWay } from "./join.ts";
export { KEY_TIMES, type KeyTimes } from "./keys.ts";
export { type UsageMeter, usageMeter } from "./meter.ts";
export { shardEtcd } from "./shard.ts";
export { shardDirectories } from "./shards.ts";
export type { ControlPlaneUse, TenantUsage } from "./usage.ts";
