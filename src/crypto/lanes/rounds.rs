//! The 64 rounds of SHA-256 (FIPS 180-4, 6.2.2), written once for every vector width.
//!
//! A kernel brings `add`, `splat`, `choose`, `majority`, `upper0`, `upper1`, `lower0` and `lower1`
//! (the functions Ch, Maj, Sigma and sigma of the standard) into scope and names its arrays. The
//! text is a macro because a generic function cannot carry a kernel's CPU features.

/// Round constants.
pub(crate) const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// One round. The working variables rotate by name, so nothing is moved.
macro_rules! round {
    ($s:ident, $w:ident, $k:ident, $i:literal,
     $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        let input = add(add($s[$h], splat($k[$i])), $w[$i]);
        let first = add(add(input, choose($s[$e], $s[$f], $s[$g])), upper1($s[$e]));
        $s[$d] = add($s[$d], first);
        $s[$h] = add(first, add(upper0($s[$a]), majority($s[$a], $s[$b], $s[$c])));
    };
}

/// One word of the message schedule, in place: W[i] of the next sixteen.
macro_rules! schedule {
    ($w:ident, $($i:literal $i1:literal $i9:literal $i14:literal,)*) => {$(
        $w[$i] = add(add($w[$i], lower0($w[$i1])), add($w[$i9], lower1($w[$i14])));
    )*};
}

/// All rounds over the working variables `$s` and the block's words `$w`, which it uses up.
macro_rules! rounds {
    ($s:ident, $w:ident) => {
        let mut loaded = true;
        for k in $crate::crypto::lanes::rounds::K.as_chunks::<16>().0 {
            if !loaded {
                $crate::crypto::lanes::rounds::schedule!($w,
                    0 1 9 14, 1 2 10 15, 2 3 11 0, 3 4 12 1,
                    4 5 13 2, 5 6 14 3, 6 7 15 4, 7 8 0 5,
                    8 9 1 6, 9 10 2 7, 10 11 3 8, 11 12 4 9,
                    12 13 5 10, 13 14 6 11, 14 15 7 12, 15 0 8 13,
                );
            }
            loaded = false;
            $crate::crypto::lanes::rounds::round!($s, $w, k, 0, 0 1 2 3 4 5 6 7);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 1, 7 0 1 2 3 4 5 6);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 2, 6 7 0 1 2 3 4 5);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 3, 5 6 7 0 1 2 3 4);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 4, 4 5 6 7 0 1 2 3);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 5, 3 4 5 6 7 0 1 2);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 6, 2 3 4 5 6 7 0 1);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 7, 1 2 3 4 5 6 7 0);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 8, 0 1 2 3 4 5 6 7);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 9, 7 0 1 2 3 4 5 6);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 10, 6 7 0 1 2 3 4 5);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 11, 5 6 7 0 1 2 3 4);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 12, 4 5 6 7 0 1 2 3);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 13, 3 4 5 6 7 0 1 2);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 14, 2 3 4 5 6 7 0 1);
            $crate::crypto::lanes::rounds::round!($s, $w, k, 15, 1 2 3 4 5 6 7 0);
        }
    };
}

pub(crate) use {round, rounds, schedule};
