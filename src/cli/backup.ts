import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { Command } from "commander";
import { isIdentity, isRecipient, type Lock, newIdentity, restoreBackup, takeBackup, type Unlock } from "../backup/index.ts";
import { readArtifacts } from "../config/artifacts.ts";
import { loadConfig, redacted } from "../config/index.ts";
import { systemClock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { createLog } from "../observe/index.ts";
import { collect, type GlobalOptions } from "./options.ts";

interface BackupFlags {
  readonly to?: string;
  readonly recipient?: readonly string[];
  readonly passphraseFile?: string;
  readonly tenants: boolean;
  readonly newKey?: string;
}

export function backupCommand(global: () => GlobalOptions, version: string): Command {
  return new Command("backup")
    .description("write the host control plane, its keys, leases and tenants to one encrypted file, while all goes on")
    .option("--to <file>", "a file, or a directory; default: the configuration's backup.directory, else here")
    .option("--recipient <key>", "a public key of age (age1…) that can read it; may be given again; default: the configuration's", collect)
    .option("--passphrase-file <file>", "encrypt under the first line of this file instead")
    .option("--no-tenants", "without tenants' datastores and credentials")
    .option("--new-key <file>", "make a key to restore with, print its recipient, and back nothing up")
    .action(async (flags: BackupFlags) => {
      if (flags.newKey) return makeKey(flags.newKey);
      const config = loadConfig({ ...global(), env: process.env });
      const lock = lockOf(flags, config.backup?.recipients ?? []);
      const taken = await takeBackup({
        dataDir: config.dataDir,
        to: flags.to ?? config.backup?.directory ?? "./",
        lock,
        tenants: flags.tenants && config.backup?.tenants !== false,
        config: redacted(config),
        versions: { ironwright: version, kubernetes: readArtifacts(config.artifacts).kube.version },
        clock: systemClock,
        random: randomBytes,
        log: createLog(config.log.level),
      });
      const { manifest } = taken;
      const keys = (manifest.etcd?.keys ?? 0) + manifest.shards.reduce((sum, shard) => sum + shard.keys, 0);
      console.log(`${taken.file}: ${taken.bytes} bytes, ${keys} keys, ${manifest.parts.length} parts, ${(taken.ms / 1000).toFixed(1)} s`);
      if (!manifest.etcd) console.log("the host control plane is an external cluster and not in it: back that up by its own means");
    });
}

interface RestoreFlags {
  readonly dataDir: string;
  readonly identity?: readonly string[];
  readonly passphraseFile?: string;
}

export function restoreCommand(global: () => GlobalOptions): Command {
  return new Command("restore")
    .description("make a data directory from a backup; every machine is quarantined until it is proven")
    .argument("<file>", "as `ironwright backup` wrote it")
    .requiredOption("--data-dir <directory>", "empty, or not there yet")
    .option(
      "--identity <file>",
      "the key it was encrypted for, as `ironwright backup --new-key` or age-keygen wrote it; may be given again",
      collect,
    )
    .option("--passphrase-file <file>", "its passphrase is the first line of this file")
    .action(async (file: string, flags: RestoreFlags) => {
      const config = loadConfig({ ...global(), env: process.env });
      const into = resolve(flags.dataDir);
      const { manifest, ms } = await restoreBackup({
        file,
        into,
        unlock: unlockOf(flags),
        kubeBin: readArtifacts(config.artifacts).kube.bin,
        clock: systemClock,
        random: randomBytes,
        log: createLog(config.log.level),
      });
      console.log(`restored from ${manifest.takenAt} into ${into} in ${(ms / 1000).toFixed(1)} s`);
      console.log("next: see that the old host stays off; then `ironwright serve` with dataDir set to it. Machines are quarantined until");
      console.log("they are proven (docs/guide/disaster-recovery.md); `ironwright get machines` shows which wait for whom");
    });
}

function makeKey(file: string): void {
  const { identity, recipient } = newIdentity();
  try {
    const text = `# created: ${systemClock.now().toISOString()}\n# public key: ${recipient}\n${identity}\n`;
    writeFileSync(file, text, { mode: 0o600, flag: "wx" });
  } catch (error) {
    throw new IronwrightError("IRW_BACKUP_OPTIONS", { problem: `--new-key ${file}: ${reasonOf(error)}` }, error);
  }
  console.log(recipient);
}

function lockOf(flags: BackupFlags, configured: readonly string[]): Lock {
  const recipients = flags.recipient ?? (flags.passphraseFile ? [] : configured);
  if (flags.passphraseFile && recipients.length > 0) throw problem("--recipient and --passphrase-file exclude each other");
  if (flags.passphraseFile) return { passphrase: passphraseIn(flags.passphraseFile) };
  if (recipients.length === 0)
    throw problem("it is not said who may read it: give --recipient, --passphrase-file, or backup.recipients in the configuration");
  const bad = recipients.find((one) => !isRecipient(one));
  if (bad !== undefined) throw problem(`--recipient ${bad} is no public key of age (age1…)`);
  return { recipients };
}

function unlockOf({ identity, passphraseFile }: RestoreFlags): Unlock {
  if (passphraseFile && identity) throw problem("--identity and --passphrase-file exclude each other");
  if (passphraseFile) return { passphrase: passphraseIn(passphraseFile) };
  if (!identity) throw problem("nothing to open it with: give --identity or --passphrase-file");
  const identities = identity.flatMap((file) => {
    const keys = linesOf(file).filter((line) => !line.startsWith("#"));
    if (keys.length === 0 || !keys.every(isIdentity)) throw problem(`--identity ${file} holds no key of age (AGE-SECRET-KEY-1…)`);
    return keys;
  });
  return { identities };
}

function passphraseIn(file: string): string {
  const [line = ""] = linesOf(file);
  if (line.length < 8) throw problem(`--passphrase-file ${file}: its first line is shorter than eight letters`);
  return line;
}

function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, "utf8")
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
  } catch (error) {
    throw problem(`${file}: ${reasonOf(error)}`);
  }
}

function problem(text: string): IronwrightError {
  return new IronwrightError("IRW_BACKUP_OPTIONS", { problem: text });
}
