// Peak: five minutes at 850 requests a second, seven in ten of them for a coupon.

import { scenario } from './lib/scenario.js';

const peak = scenario('peak');
export const options = peak.options;
export default peak.visit;
export const handleSummary = peak.summary;
