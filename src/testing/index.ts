/** For tests of users: see the README, "Testing your topology". */
export { TestDriver, type TestDriverOptions, type TestTopic } from './test-driver.ts'
export {
  type InputTopicOptions,
  TestInputTopic,
  type TestRecord,
  type TestRecordOptions,
} from './test-input-topic.ts'
export { type CrashTestOptions, type RestartTestOptions, TestInstance } from './test-instance.ts'
export { type OutputTopicOptions, TestOutputTopic } from './test-output-topic.ts'
