"""What tests share: builders, fakes, a clock to move, stacks with fault proxies, and what must hold on them."""
