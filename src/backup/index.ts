export { isIdentity, isRecipient, type Lock, newIdentity, type Unlock } from "./age-header.ts";
export { type Backup, type BackupOptions, takeBackup } from "./backup.ts";
export { restoreBackup } from "./restore.ts";
export { readRestored, writeRestored } from "./restored.ts";
export { backupSchedule, nextBackup } from "./schedule.ts";
