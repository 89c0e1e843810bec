// Overload: once, twice, three times what the shop can do, then once again. Is it refused early, and in order of worth?

import { scenario } from './lib/scenario.js';

const overload = scenario('overload');
export const options = overload.options;
export default overload.visit;
export const handleSummary = overload.summary;
