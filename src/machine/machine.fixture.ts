import type { Disk, Inventory, Machine, MachineSpec, MachineStatus, Operation } from "../core/resources.ts";

export function disk(change: Partial<Disk> = {}): Disk {
  return {
    path: "/dev/nvme0n1",
    name: "nvme0n1",
    serial: "S1",
    model: "M1",
    sizeBytes: 8 * 2 ** 30,
    rotational: false,
    signatures: [],
    ...change,
  };
}

export function inventory(change: Partial<Inventory> = {}): Inventory {
  return {
    system: { manufacturer: "Ironlab", product: "GB2", serial: "SN1", uuid: "u-1" },
    firmware: "bios",
    architecture: "x86_64",
    cpu: { model: "cpu", sockets: 1, cores: 2, threads: 2 },
    memoryBytes: 2 ** 30,
    disks: [disk()],
    nics: [{ name: "eth0", mac: "52:54:00:77:00:01", link: true }],
    gpus: [],
    ...change,
  };
}

export function operation(change: Partial<Operation> = {}): Operation {
  return {
    kind: "inspect",
    fence: 1,
    state: "Running",
    done: [],
    startedAt: "2026-01-01T00:00:00Z",
    deadline: "2026-01-01T01:00:00Z",
    attempt: 1,
    ...change,
  };
}

export function machine(status: MachineStatus = {}, spec: Partial<MachineSpec> = {}): Machine {
  return {
    apiVersion: "ironwright.dev/v1alpha1",
    kind: "Machine",
    metadata: { name: "m-1", generation: 1 },
    spec: { bmc: { address: "redfish://10.0.0.11", credentialsSecret: "bmc" }, bootMAC: "52:54:00:77:00:01", ...spec },
    status,
  };
}
