/** The other half of the cases: see conformance.test.ts. */
import { verdicts } from './verdicts.ts'

verdicts(1, 2)
