import { parseDuration } from "../../core/duration.ts";
import type { Budget, Gang, Quota } from "../plan/index.ts";
import type * as form from "./form.ts";
import { labelOf } from "./labels.ts";

export function share(value: number | string, of: number): number {
  if (typeof value === "number") return value;
  const number = Number.parseInt(value, 10);
  return value.endsWith("%") ? Math.ceil((of * number) / 100) : number;
}

export function budgetOf(budget: NonNullable<form.Pool["budgets"]>[number]): Budget {
  const { nodes } = budget;
  const { reasons, schedule, ...rest } = { reasons: undefined, schedule: undefined, duration: undefined, durationS: undefined, ...budget };
  const duration = rest.duration ?? rest.durationS;
  return {
    nodes,
    ...(reasons === undefined ? {} : { reasons }),
    ...(schedule === undefined ? {} : { schedule }),
    // a length that cannot be read is no number: such a budget allows nothing
    ...(duration === undefined ? {} : { durationS: (parseDuration(duration) ?? Number.NaN) / 1_000 }),
  };
}

export function limitOf(key: string, limit: string | number): [string, string | number] {
  if (key === "mem") return ["memory", typeof limit === "number" ? `${limit}Gi` : limit];
  return [key === "gpu" ? "nvidia.com/gpu" : key === "hosts" ? "nodes" : key, limit];
}

export function quotaOf(tenant: form.Tenant): Quota {
  const { nominal, borrow, lend, weight, cohort } = tenant;
  const unit = ["hosts", "host", "machines", "nodes", "servers"].includes(tenant.unit)
    ? "machines"
    : tenant.unit === "gpu"
      ? "nvidia.com/gpu"
      : tenant.unit;
  return {
    ...(nominal === undefined ? {} : { nominal }),
    ...(borrow === undefined ? {} : { borrow }),
    ...(lend === undefined ? {} : { lend }),
    weight,
    unit,
    ...(cohort === undefined ? {} : { cohort }),
  };
}

export function gangOf(gang: form.Gang): Gang {
  const { required, preferred, slice } = gang.topo ?? {};
  return {
    name: gang.id,
    min: gang.min,
    size: gang.size ?? gang.min,
    ...(gang.topo
      ? {
          topology: {
            ...(required === undefined ? {} : { required: labelOf(required) }),
            ...(preferred === undefined ? {} : { preferred: labelOf(preferred) }),
            ...(slice === undefined ? {} : { slice: { size: slice.size, level: labelOf(slice.level) } }),
          },
        }
      : {}),
  };
}
