export {
  type OperationJob,
  type OperationQueue,
  type OperationWorker,
  operationQueue,
  operationWorker,
  type RedisAddress,
} from "./operations.ts";
export { type Reconciler, type ReconcilerOptions, reconciler } from "./reconciler.ts";
