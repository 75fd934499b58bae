export { levelDisk } from './level-disk.ts'
export { type CrashOptions, type MemoryDisk, memoryDisk } from './memory-disk.ts'
