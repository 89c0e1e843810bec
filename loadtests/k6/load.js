// Load: five minutes at 750 requests a second with the mix of the original report.

import { scenario } from './lib/scenario.js';

const load = scenario('load');
export const options = load.options;
export default load.visit;
export const handleSummary = load.summary;
