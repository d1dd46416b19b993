export { type MachineController, type MachineOptions, machineController } from "./controller.ts";
export { type Images, imageStore } from "./images.ts";
export { loadPlaybooks } from "./playbook.ts";
export { quarantineRestored } from "./restored.ts";
