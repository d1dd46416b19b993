import { stat } from "node:fs/promises";
import { z } from "zod";
import { formatDuration } from "../../core/duration.ts";
import { IronwrightError, isError } from "../../core/errors.ts";
import { modelOf } from "../facts.ts";
import { rootDisk } from "../root-disk.ts";
import type { Registered } from "../run-playbook.ts";
import { withNews } from "../status.ts";
import { noteBmc, type Work } from "../work.ts";
import { join } from "./join.ts";
import { classOf, imageOf } from "./references.ts";
import type { Facts, Step } from "./saga.ts";

/** From a claimed machine to a node of its tenant. What a failed one leaves on the disk, the release wipes. */
export const install: readonly Step<Work>[] = [
  { name: "choose", do: choose, undo: "nothing to undo" },
  { name: "network-boot", do: networkBoot, undo: "the release" },
  { name: "partition", do: partition, undo: "the wipe of the release" },
  { name: "write-image", do: writeImage, undo: "the wipe of the release" },
  { name: "bootloader", do: bootloader, undo: "the wipe of the release" },
  { name: "configure", do: configure, undo: "the wipe of the release" },
  { name: "boot-own-disk", do: bootOwnDisk, undo: "the release" },
  ...join,
];

/** Everything that can be refused before the machine is touched. */
async function choose(on: Work): Promise<Facts> {
  const { machine } = on;
  const machineClass = await classOf(on);
  const image = await imageOf(on, machineClass);
  const inventory = machine.status?.inventory;
  // a wipe that was read back leaves none
  const data = (inventory?.disks ?? []).filter((disk) => disk.signatures.length > 0);
  if (data.length > 0 && !machine.spec.erase)
    throw new IronwrightError("IRW_CONSENT_MISSING", { machine: on.name, disks: data.map((disk) => disk.path).join(", ") });
  const disk = rootDisk({
    machine: on.name,
    disks: inventory?.disks ?? [],
    hint: machine.spec.rootDevice ?? machineClass.spec.rootDevice,
    imageBytes: image.spec.sizeBytes,
  });
  return { class: machineClass.metadata.name, image: image.metadata.name, sha256: image.spec.sha256, disk: disk.path };
}

async function networkBoot(on: Work): Promise<Facts | undefined> {
  await on.networkBoot();
  await noteBmc(on);
  return undefined;
}

async function partition(on: Work): Promise<Facts> {
  const disk = chosenDisk(on);
  const { claimRef, erase } = on.machine.spec;
  const vars = { ...disk, may_erase: String(erase === true), claim_uid: claimRef?.uid ?? "" };
  await consented(on, () => on.play("install/consent", vars, on.installer));
  // from here on its disks may hold the tenant's data; before, they are not ours to wipe
  await on.update((status, { spec }) => {
    const { claimRef: lastClaim } = spec;
    return lastClaim ? { ...status, lastTenant: lastClaim.tenant, lastClaim } : status;
  });
  const { partitions } = await consented(on, () => on.play("install/partition", vars, on.installer));
  return z.object({ root: z.string().startsWith(disk.disk), esp: z.string() }).parse(partitions);
}

/** The script names the disk and what is on it: `consent /dev/x with …`. @throws IRW_CONSENT_MISSING */
async function consented(on: Work, play: () => Promise<Registered>): Promise<Registered> {
  try {
    return await play();
  } catch (error) {
    const said = isError(error, "IRW_STEP_FAILED") ? /^consent (.*)$/m.exec(error.facts.output) : undefined;
    if (!said) throw error;
    throw new IronwrightError("IRW_CONSENT_MISSING", { machine: on.name, disks: said[1] ?? "" }, error);
  }
}

async function writeImage(on: Work): Promise<Facts> {
  const image = await imageOf(on, await classOf(on));
  const { spec } = image;
  const file = await on.tools.images.file(image, on.signal);
  const ssh = await on.installer();
  const nonce = on.machine.status?.operation?.nonce ?? "";
  const url = on.tools.bootPlane.serveFile(nonce, "image", file);
  const vars = { ...rootPartition(on), url, sha256: spec.sha256, format: spec.format, packed_bytes: String((await stat(file)).size) };
  const written = await on.play("install/write-image", vars, async () => (ssh.alive ? ssh : on.installer()));
  const { sha256 } = z.object({ sha256: z.string() }).parse(written.image);
  if (sha256 !== spec.sha256) throw new IronwrightError("IRW_IMAGE_DIGEST", { url: spec.url, want: spec.sha256, got: sha256 });
  await on.update((status) => ({ ...status, imageSha256: sha256 }));
  return { sha256 };
}

async function bootloader(on: Work): Promise<Facts> {
  const machineClass = await classOf(on);
  const image = await imageOf(on, machineClass);
  const words = [
    "console=ttyS0",
    "quiet",
    `ironwright.mac=${on.machine.spec.bootMAC}`,
    ...(image.spec.kernelArguments ?? []),
    ...(machineClass.spec.kernelArguments ?? []),
  ];
  const vars = { ...rootPartition(on), arguments: words.join(" ") };
  const result = await on.play("install/bootloader", vars, on.installer);
  const { order } = z.object({ order: z.string() }).parse(result.bootloader);
  return order ? { order } : {};
}

async function configure(on: Work): Promise<Facts> {
  const vars = { ...rootPartition(on), hostname: on.name, authorized_key: on.tools.key.publicKey };
  const { system } = await on.play("install/configure", vars, on.installer);
  const { hostKey } = z.object({ hostKey: z.string().startsWith("ssh-ed25519 ") }).parse(system);
  await on.update((status) => ({ ...status, hostKey }));
  return { hostKey };
}

const SOFT_MS = 20_000;
/** Large servers test their memory for minutes before they boot. */
const SILENT_MS = 7 * 60_000;
const BOOT_MS = 15 * 60_000;
const TRY_MS = 300;

/** Through firmware, as it will boot ever after; done when the installed system shows the key its installation made. */
async function bootOwnDisk(on: Work): Promise<Facts | undefined> {
  const { bootPlane } = on.tools;
  const { clock, signal } = on;
  const { inventory } = on.machine.status ?? {};
  bootPlane.note(on.name, "installed", "installed, to boot its own disk", inventory ? modelOf(inventory) : undefined);
  bootPlane.remember({ machine: on.name, macs: [on.machine.spec.bootMAC], hostname: on.name, intent: { boot: "disk" } });
  const started = clock.now().getTime();
  let asked: number | undefined;
  let forced = false;
  for (;;) {
    const answer = await knock(on);
    if (answer === "up") break;
    const now = clock.now().getTime();
    if (answer === "installer" && asked === undefined) {
      asked = now;
      await bootDiskNext(on);
      forced = !(await rebootSoftly(on));
      if (forced) await on.power("ForceRestart");
    } else if (!forced && (answer === "installer" ? now - (asked ?? now) > SOFT_MS : now - started > SILENT_MS)) {
      forced = true;
      await bootDiskNext(on);
      await on.power("ForceRestart");
    }
    if (now - started > BOOT_MS)
      throw new IronwrightError("IRW_STEP_TIMEOUT", { machine: on.name, step: "boot-own-disk", after: formatDuration(BOOT_MS) });
    await clock.sleep(TRY_MS, signal);
  }
  await on.update((status) => {
    const next = { ...status, address: addressOf(on), power: "On" as const, phase: "Joining" as const };
    return withNews(next, "Joining", "it runs from its own disk", clock.now());
  });
  on.event("Normal", "Installed", "it runs from its own disk");
  return undefined;
}

async function bootDiskNext(on: Work): Promise<void> {
  const firmware = on.machine.status?.inventory?.firmware;
  await (await on.bmc()).bootNext("Hdd", firmware ? { firmware } : {}, on.hold);
}

/** False when the installer cannot be told. */
async function rebootSoftly(on: Work): Promise<boolean> {
  const ssh = await on.installerIfThere();
  if (!ssh) return false;
  await on.hold();
  const { exit } = await ssh.run("sync; setsid sh -c 'sleep 0.2; reboot -f' > /dev/null 2>&1 < /dev/null &", { signal: on.signal });
  ssh.close();
  return exit === 0;
}

function addressOf(on: Work): string {
  return on.tools.bootPlane.addressOf(on.name) ?? on.machine.status?.address ?? "";
}

/** Who answers: the installed system, still the installer (or a stranger), or nobody yet. */
async function knock(on: Work): Promise<"up" | "installer" | "nobody"> {
  const hostKey = on.fact("configure", "hostKey") ?? "";
  try {
    await on.connectSystem(addressOf(on), hostKey);
    return "up";
  } catch (error) {
    on.signal.throwIfAborted();
    if (isError(error, "IRW_SSH_HOST_KEY")) return "installer";
    if (isError(error, "IRW_SSH")) return "nobody";
    throw error;
  }
}

/** What every step that writes knows the disk by: names change between boots. */
function chosenDisk(on: Work): { disk: string; serial: string; wwn: string; size_bytes: string } {
  const path = on.fact("choose", "disk") ?? "";
  const disk = on.machine.status?.inventory?.disks.find((one) => one.path === path);
  if (!disk) throw new IronwrightError("IRW_DISK_NONE", { machine: on.name, wanted: path, have: "an inventory without it" });
  return { disk: disk.path, serial: disk.serial, wwn: disk.wwn ?? "", size_bytes: String(disk.sizeBytes) };
}

function rootPartition(on: Work): ReturnType<typeof chosenDisk> & { root: string } {
  return { ...chosenDisk(on), root: on.fact("partition", "root") ?? "" };
}
