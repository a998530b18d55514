// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by each kernel family: what a tile of the vocabulary says of one row.

TileSummary summarise(const TileProblem& t) {
  TileSummary s;
  auto skipped = t.skip.begin();
  for (std::int64_t i = 0; i < t.count; ++i) {
    const TokenId token = t.first + static_cast<TokenId>(i);
    while (skipped != t.skip.end() && *skipped < token) {
      ++skipped;
    }
    const float logit = t.logits[i];
    s.finite = s.finite && __builtin_fabsf(logit) <= __FLT_MAX__;
    if (skipped != t.skip.end() && *skipped == token) {
      continue;
    }
    if (s.top_token < 0 || logit > s.top) {
      s.top = logit;
      s.top_token = token;
    }
    if (token != t.excluded && (s.best_token < 0 || logit > s.best)) {
      s.best = logit;
      s.best_token = token;
    }
  }
  if (s.top_token < 0 || !s.finite) {
    return s;
  }
  // The sum leaves the largest term out, so that a probability close to one keeps its distance from one.
  const Vec shift = broadcast(s.top);
  Vec total = broadcast(0.0F);
  const auto term = [&](std::int64_t begin, std::int64_t count) {
    float e[kLanes];
    store(exponential(load_some(t.logits + begin, count) - shift), e);
    for (std::int64_t i = 0; i < kLanes; ++i) {
      const TokenId token = t.first + static_cast<TokenId>(begin + i);
      const bool counts = i < count && token != s.top_token &&
                          (t.skip.empty() || !std::binary_search(t.skip.begin(), t.skip.end(), token));
      e[i] = counts ? e[i] : 0.0F;
    }
    total = total + load(e);
  };
  for_vectors(
      t.count, [&](std::int64_t i) { term(i, kLanes); }, term);
  s.others = sum(total);
  return s;
}

float exponential_of(float x) {
  float e[kLanes];
  store(exponential(broadcast(x)), e);
  return e[0];
}
