/* Time loops by hand, for comparison with what XLA makes of the same steps.

   A block of BLOCK neurons goes through all times at once: its states and parameters stay in the nearest cache,
   and each line of a step is one loop that the compiler vectorises. Arguments are those of ctypes in
   contenders.py: parameters [parameter, neuron] in the order of the model's table; `target` [time, sweep];
   `loss` [neuron], the mean squared difference of V, or NULL; `traces` V [time, sweep, neuron], or NULL. The
   number of neurons is a multiple of BLOCK.

   exp is a polynomial in the registers by default, to 2 units in the last place (Cephes' expf without its special
   cases); with -DLIBMVEC it is a call to the vector library of glibc. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef BLOCK
#define BLOCK 64
#endif
#define EACH _Pragma("omp simd") for (int j = 0; j < BLOCK; j++)

#ifdef LIBMVEC
#define EXP expf
#else
static inline float EXP(float x) {
  x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float whole = rintf(x * 1.44269504f);
  const float r = x - whole * 0.693359375f - whole * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const int32_t bits = ((int32_t)whole + 127) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return (p * r * r + r + 1.0f) * power;
}
#endif

static inline float linoid(float x) {
  const float away = x / (1.0f - EXP(-x));
  return fabsf(x) < 1e-3f ? 1.0f + 0.5f * x : away;
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + EXP(-x)); }

/* odynn.models.hodgkinhuxley by exponential Euler: V with the old gates, then the gates with the new V. */
void squid(const float *parameters, const float *stimulus, const float *target, float *loss, float *traces,
           int neurons, int sweeps, int steps, float dt, const float *start, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int first = 0; first < neurons; first += BLOCK) {
    const float *P = parameters + first;
    const float *C = P, *gNa = P + neurons, *gK = P + 2 * (size_t)neurons, *gL = P + 3 * (size_t)neurons,
                *ENa = P + 4 * (size_t)neurons, *EK = P + 5 * (size_t)neurons, *EL = P + 6 * (size_t)neurons;
    float squares[BLOCK] = {0};
    for (int sweep = 0; sweep < sweeps; sweep++) {
      float V[BLOCK], m[BLOCK], h[BLOCK], n[BLOCK];
      EACH { V[j] = start[0]; m[j] = start[1]; h[j] = start[2]; n[j] = start[3]; }
      for (int t = 0; t < steps; t++) {
        const size_t at = (size_t)t * sweeps + sweep;
        const float I = stimulus[at], seen = target[at];
        EACH {
          const float Na = gNa[j] * m[j] * m[j] * m[j] * h[j], n2 = n[j] * n[j], K = gK[j] * n2 * n2;
          const float G = Na + K + gL[j];
          const float rest = (I + Na * ENa[j] + K * EK[j] + gL[j] * EL[j]) / G;
          const float v = rest + (V[j] - rest) * EXP(-dt * G / C[j]);
          const float am = linoid((v + 40.0f) * 0.1f), bm = 4.0f * EXP((v + 65.0f) * (-1.0f / 18.0f));
          const float ah = 0.07f * EXP((v + 65.0f) * -0.05f), bh = sigmoid((v + 35.0f) * 0.1f);
          const float an = 0.1f * linoid((v + 55.0f) * 0.1f), bn = 0.125f * EXP((v + 65.0f) * -0.0125f);
          const float mi = am / (am + bm), hi = ah / (ah + bh), ni = an / (an + bn);
          m[j] = mi + (m[j] - mi) * EXP(-dt * (am + bm));
          h[j] = hi + (h[j] - hi) * EXP(-dt * (ah + bh));
          n[j] = ni + (n[j] - ni) * EXP(-dt * (an + bn));
          V[j] = v;
          squares[j] += (v - seen) * (v - seen);
        }
        if (traces) memcpy(traces + at * neurons + first, V, sizeof V);
      }
    }
    if (loss) EACH loss[first + j] = squares[j] / ((float)steps * sweeps);
  }
}

/* odynn.models.celegans by implicit Euler, V then the gates with the new V. */
void celegans(const float *parameters, const float *stimulus, const float *target, float *loss, float *traces,
              int neurons, int sweeps, int steps, float dt, const float *start, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int first = 0; first < neurons; first += BLOCK) {
    enum { C, gCa, gKs, gKf, gL, ECa, EK, EL, decay, rho, p, q = p + 3, n = q + 3, e = n + 3, f = e + 3, alpha = f + 3 };
#define P(k) parameters[(size_t)(k) * neurons + first + j]
#define GATE(x, k) x[j] = (P(k + 2) * x[j] + dt * sigmoid((v - P(k)) / P(k + 1))) / (P(k + 2) + dt)
    float squares[BLOCK] = {0};
    for (int sweep = 0; sweep < sweeps; sweep++) {
      float V[BLOCK], sp[BLOCK], sq[BLOCK], sn[BLOCK], se[BLOCK], sf[BLOCK], Ca[BLOCK];
      EACH {
        V[j] = start[0]; sp[j] = start[1]; sq[j] = start[2]; sn[j] = start[3];
        se[j] = start[4]; sf[j] = start[5]; Ca[j] = start[6];
      }
      for (int t = 0; t < steps; t++) {
        const size_t at = (size_t)t * sweeps + sweep;
        const float I = stimulus[at], seen = target[at];
        EACH {
          const float h = 1.0f + (sigmoid((Ca[j] - P(alpha + 1)) / P(alpha + 2)) - 1.0f) * P(alpha);
          const float p2 = sp[j] * sp[j];
          const float Kf = P(gKf) * p2 * p2 * sq[j], Ks = P(gKs) * sn[j];
          const float ca = P(gCa) * se[j] * se[j] * sf[j] * h, inertia = P(C) / dt;
          const float drive = I + (Kf + Ks) * P(EK) + ca * P(ECa) + P(gL) * P(EL);
          const float v = (inertia * V[j] + drive) / (inertia + Kf + Ks + ca + P(gL));
          GATE(sp, p); GATE(sq, q); GATE(sn, n); GATE(se, e); GATE(sf, f);
          const float inflow = -P(rho) * ca * (v - P(ECa));
          Ca[j] = (Ca[j] + dt * inflow) * P(decay) / (P(decay) + dt);
          V[j] = v;
          squares[j] += (v - seen) * (v - seen);
        }
        if (traces) memcpy(traces + at * neurons + first, V, sizeof V);
      }
    }
    if (loss) EACH loss[first + j] = squares[j] / ((float)steps * sweeps);
  }
}
