import { createHash } from "node:crypto";
import { type Override, targetsOf } from "./power.ts";

/** What never changes of a server, as its BMC tells it. */
export interface RedfishIdentity {
  readonly id: string;
  readonly uuid: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly firmware: "bios" | "uefi";
  readonly cpus: number;
  readonly memoryMiB: number;
}

const ROOT = "/redfish/v1";

/** Resources as the DMTF schemas have them (DSP8010 2023.1). Pure: state in, document out. */
export function serviceRoot(identity: RedfishIdentity): object {
  return {
    "@odata.id": `${ROOT}/`,
    "@odata.type": "#ServiceRoot.v1_15_0.ServiceRoot",
    Id: "RootService",
    Name: "Root Service",
    RedfishVersion: "1.18.0",
    UUID: identity.uuid,
    Vendor: "Ironwright (simulated)",
    Product: "Simulated BMC",
    Systems: link("Systems"),
    Managers: link("Managers"),
    SessionService: link("SessionService"),
    Links: { Sessions: link("SessionService/Sessions") },
  };
}

export function sessionService(timeoutS: number): object {
  return {
    "@odata.id": `${ROOT}/SessionService`,
    "@odata.type": "#SessionService.v1_1_8.SessionService",
    Id: "SessionService",
    Name: "Session Service",
    ServiceEnabled: true,
    SessionTimeout: timeoutS,
    Sessions: link("SessionService/Sessions"),
  };
}

export function collection(path: string, type: string, members: readonly string[]): object {
  return {
    "@odata.id": `${ROOT}/${path}`,
    "@odata.type": `#${type}Collection.${type}Collection`,
    Name: `${type} Collection`,
    "Members@odata.count": members.length,
    Members: members.map((id) => link(`${path}/${id}`)),
  };
}

export function session(id: string, user: string): object {
  return {
    "@odata.id": `${ROOT}/SessionService/Sessions/${id}`,
    "@odata.type": "#Session.v1_5_0.Session",
    Id: id,
    Name: "User Session",
    UserName: user,
  };
}

export function system(identity: RedfishIdentity, power: "On" | "Off", override: Override): object {
  const path = `Systems/${identity.id}`;
  return {
    "@odata.id": `${ROOT}/${path}`,
    "@odata.type": "#ComputerSystem.v1_20_0.ComputerSystem",
    Id: identity.id,
    Name: identity.id,
    Description: "A simulated server: QEMU behind an emulated BMC",
    SystemType: "Physical",
    Manufacturer: identity.manufacturer,
    Model: identity.model,
    SerialNumber: identity.serial,
    UUID: identity.uuid,
    PowerState: power,
    Status: { State: power === "On" ? "Enabled" : "StandbyOffline", Health: "OK" },
    ProcessorSummary: { Count: 1, LogicalProcessorCount: identity.cpus, Model: "QEMU TCG CPU" },
    MemorySummary: { TotalSystemMemoryGiB: identity.memoryMiB / 1_024 },
    Boot: {
      BootSourceOverrideTarget: override.target,
      "BootSourceOverrideTarget@Redfish.AllowableValues": targetsOf(identity.firmware),
      BootSourceOverrideEnabled: override.enabled,
      BootSourceOverrideMode: modeOf(identity),
      "BootSourceOverrideMode@Redfish.AllowableValues": [modeOf(identity)],
    },
    Actions: {
      "#ComputerSystem.Reset": {
        target: `${ROOT}/${path}/Actions/ComputerSystem.Reset`,
        "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulShutdown", "ForceRestart", "PowerCycle"],
      },
    },
    Links: { ManagedBy: [link("Managers/BMC")] },
  };
}

export function manager(identity: RedfishIdentity, now: Date): object {
  return {
    "@odata.id": `${ROOT}/Managers/BMC`,
    "@odata.type": "#Manager.v1_19_0.Manager",
    Id: "BMC",
    Name: "Manager",
    ManagerType: "BMC",
    Manufacturer: "Ironwright (simulated)",
    Model: "Simulated BMC",
    FirmwareVersion: "1.0.0",
    DateTime: now.toISOString(),
    Status: { State: "Enabled", Health: "OK" },
    Links: { ManagerForServers: [link(`Systems/${identity.id}`)] },
  };
}

/** Its firmware boots one way only; a PATCH to the other is refused. */
export function modeOf(identity: RedfishIdentity): "UEFI" | "Legacy" {
  return identity.firmware === "uefi" ? "UEFI" : "Legacy";
}

/** Changes with the document, whatever changed it. */
export function etagOf(document: object): string {
  return `"${createHash("sha256").update(JSON.stringify(document)).digest("hex").slice(0, 16)}"`;
}

/** A Redfish error response (DSP0266 §8.6), its message from the Base registry. */
export function errorBody(messageId: string, message: string): object {
  const MessageId = `Base.1.18.${messageId}`;
  return {
    error: {
      code: MessageId,
      message,
      "@Message.ExtendedInfo": [{ MessageId, Message: message, Severity: "Critical", Resolution: "See the message." }],
    },
  };
}

function link(path: string): object {
  return { "@odata.id": `${ROOT}/${path}` };
}
