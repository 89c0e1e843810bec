// Stress: fourteen minutes in seven steps up to 1,125 requests a second (the original's 1,500 VUs at load's ratio).

import { scenario } from './lib/scenario.js';

const stress = scenario('stress');
export const options = stress.options;
export default stress.visit;
export const handleSummary = stress.summary;
