// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by each kernel family: what a tile of the vocabulary says of one row.

/// Largest and best logit, token by token.
inline TileSummary find_tops(const TileProblem& t) {
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
  return s;
}

/// The same with vectors, where no token is left out; the first of 16 at which each lane was largest says which token it is.
inline TileSummary find_tops_of_all(const TileProblem& t) {
  Vec most = broadcast(-__builtin_inff());
  Vec nothing = broadcast(0.0F);  // times a number that is not finite: NaN
  NativeInt first[kParts] = {};
  for (std::int64_t i = 0; i + kLanes <= t.count; i += kLanes) {
    const Vec v = load(t.logits + i);
    for (int p = 0; p < kParts; ++p) {
      const NativeInt larger_here = v.part[p] > most.part[p];
      most.part[p] = larger_here ? v.part[p] : most.part[p];
      first[p] = larger_here ? NativeInt{} + static_cast<std::int32_t>(i) : first[p];
      nothing.part[p] += v.part[p] * 0.0F;
    }
  }
  float tops[kLanes];
  std::int32_t places[kLanes];
  store(most, tops);
  __builtin_memcpy(places, first, sizeof places);
  TileSummary s;
  s.finite = sum(nothing) == 0.0F;
  TokenId best = -1;
  const auto take = [&](float logit, TokenId at) {
    if (best < 0 || logit > s.top || (logit == s.top && at < best)) {
      s.top = logit;
      best = at;
    }
  };
  for (int lane = 0; lane < kLanes; ++lane) {
    take(tops[lane], places[lane] + lane);
  }
  for (std::int64_t i = t.count / kLanes * kLanes; i < t.count; ++i) {
    take(t.logits[i], static_cast<TokenId>(i));
    s.finite = s.finite && __builtin_fabsf(t.logits[i]) <= __FLT_MAX__;
  }
  s.top_token = t.first + best;
  s.best = s.top;
  s.best_token = s.top_token;
  return s;
}

TileSummary summarise(const TileProblem& t) {
  TileSummary s;
  if (t.skip.empty() && t.count >= kLanes) {
    s = find_tops_of_all(t);
  }
  if (s.top_token < 0 || !s.finite || s.top_token == t.excluded) {
    s = find_tops(t);
  }
  if (s.top_token < 0 || !s.finite) {
    return s;
  }
  // The sum leaves the largest term out, so that a probability close to one keeps its distance from one.
  const Vec shift = broadcast(s.top);
  Vec total = broadcast(0.0F);
  const auto term = [&](std::int64_t begin, std::int64_t count) {
    const std::int64_t top = s.top_token - t.first;
    if (t.skip.empty() && count == kLanes && (top < begin || top >= begin + kLanes)) {
      total = total + exponential(load(t.logits + begin) - shift);
      return;
    }
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
