import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/stack/sample/sample.ts'],
    globalSetup: ['test/stack/setup.ts'],
    disableConsoleIntercept: true,
  },
})
