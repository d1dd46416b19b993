import { readFileSync } from "node:fs";
import { Command } from "commander";
import { collect, type GlobalOptions } from "./options.ts";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };

/** Every command by its name. Only the one that is called is loaded: it answers at once, and one that is broken breaks no other. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import("./serve.ts")).serveCommand(global),
  supervise: async () => (await import("./supervise.ts")).superviseCommand(global),
  config: async () => (await import("./config.ts")).configCommand(global),
  rack: async () => (await import("./rack.ts")).rackCommand(global),
  get: async () => (await import("./get.ts")).getCommand(global),
  describe: async () => (await import("./describe.ts")).describeCommand(global),
  create: async () => (await import("./create.ts")).createCommand(global),
  delete: async () => (await import("./delete.ts")).deleteCommand(global),
  sleep: async () => (await import("./sleep.ts")).sleepCommand(global),
  wake: async () => (await import("./sleep.ts")).wakeCommand(global),
  top: async () => (await import("./top.ts")).topCommand(global),
  timeline: async () => (await import("./timeline.ts")).timelineCommand(global),
  kubeconfig: async () => (await import("./kubeconfig.ts")).kubeconfigCommand(global),
  "rotate-ca": async () => (await import("./rotate-ca.ts")).rotateCaCommand(global),
  doctor: async () => (await import("./doctor.ts")).doctorCommand(global),
  explain: async () => (await import("./explain.ts")).explainCommand(),
  backup: async () => (await import("./backup.ts")).backupCommand(global, version),
  restore: async () => (await import("./backup.ts")).restoreCommand(global),
  simulate: async () => (await import("./simulate.ts")).simulateCommand(),
};

const program = root();

function root(): Command {
  return new Command("ironwright")
    .description("Turns racks of GPU servers into Kubernetes nodes for tenants, on demand.")
    .version(version)
    .option("-c, --config <file>", "configuration file; default ./ironwright.yaml, then /etc/ironwright/ironwright.yaml")
    .option("--set <key=value>", "set one setting, e.g. --set host.port=6444; may be given again", collect)
    .showHelpAfterError();
}

function global(): GlobalOptions {
  const { config, set } = program.opts<{ config?: string; set?: readonly string[] }>();
  return { ...(config ? { file: config } : {}), ...(set ? { set } : {}) };
}

try {
  // another one reads the line first, for reading sets options
  const [called = ""] = root().parseOptions(process.argv.slice(2)).operands;
  // --set of create fills in a template; the configuration's comes before the command
  if (called === "create") program.enablePositionalOptions();
  // whoever asks for help, or for what is not there, is shown them all
  const loaded = Object.hasOwn(commands, called) ? [called] : Object.keys(commands);
  for (const name of loaded) {
    const command = await commands[name]?.();
    if (command) program.addCommand(command);
  }
  await program.parseAsync();
} catch (error) {
  // a problem of our own or one the daemon tells of: neither's class is loaded for commands that have none
  if (error instanceof Error && "code" in error && "next" in error)
    process.stderr.write(`${error.code}: ${error.message}\n  next: ${error.next}\n`);
  else process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
