//! Key directories of which a part is lost, broken or older: what a restore takes, and what a vault
//! that is open says of its mirror.

use super::*;

/// Files of a key directory beside the tree.
const SECRETS: [&str; 3] = ["kek", "signing/log.key", "signing/report.key"];

fn remove(disk: &SimDisk, path: &Path) {
    disk.remove(path).unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

/// What `KEYS_PRIMARY_LOST` and the errors of damaged secrets advise, for each of them.
#[test]
fn a_key_directory_without_one_of_its_secrets_is_restored() {
    let (scene, vault) = Scene::new(110);
    vault.erase(&[patient("p1")], "gdpr-17-1", &two_people()).unwrap();
    drop(vault);
    for name in SECRETS {
        let path = Path::new("/sim/keys").join(name);
        for rotten in [false, true] {
            let context = format!("{name}, rotten {rotten}");
            let scene = scene.on(&scene.disk.fork());
            assert!(code(scene.restore(false)).starts_with("KEYS_PRIMARY_WHOLE"), "{context}");
            match rotten {
                true => scene.disk.flip(&path, 30, 1),
                false => remove(&scene.disk, &path),
            }
            assert!(scene.open(111).is_err(), "{context}");
            scene.restore(false).unwrap_or_else(|e| panic!("{context}: {e}"));
            let vault = scene.open(112).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(codes(&vault), ["UNWITNESSED"], "{context}");
            expect(&vault, &["p1"], &context);
            append(&vault, &[Visit::new(7, "nurse", "p0")]).unwrap();
            vault.checkpoint().unwrap();
            drop(vault);
            verified(&scene, &[]);
            let whole = code(scene.restore(false));
            assert!(whole.starts_with("KEYS_PRIMARY_WHOLE"), "{context}: {whole}");
        }
    }
    // One that others may read is no loss.
    scene.disk.make_public(Path::new("/sim/keys/kek"));
    let refused = code(scene.restore(true));
    assert!(refused.contains("KEK_WORLD_READABLE"), "{refused}");
}

/// The mirror lacks keys that were made while it was away. As long as the tree itself is whole, none
/// of them is given up for a lost root key.
#[test]
fn a_whole_tree_is_not_replaced_by_a_mirror_that_is_behind() {
    let (scene, vault) = Scene::new(120);
    scene.split.fail_after(1);
    append(&vault, &[Visit::new(7, "nurse", "late")]).unwrap();
    drop(vault);
    scene.split.heal();
    let both = scene.on(&scene.disk.fork());
    for accept_loss in [false, true] {
        let scene = scene.on(&scene.disk.fork());
        remove(&scene.disk, Path::new("/sim/keys/kek"));
        assert!(code(scene.open(121)).contains("KEYS_PRIMARY_LOST"));
        scene.restore(accept_loss).unwrap();
        let vault = scene.open(122).unwrap();
        assert_eq!(codes(&vault), ["UNWITNESSED", "KEYS_MIRROR_BROUGHT_UP"]);
        expect(&vault, &[], "the root key alone");
        let late = read_all(&vault).into_iter().find(|r| r.entry.head.source_seq == Some(7));
        assert_eq!(data_fate(&late.unwrap()), Fate::Open);
    }
    // The tree is lost too: only then is it a question of loss.
    remove(&both.disk, Path::new("/sim/keys/kek"));
    let tenant = both.disk.list(Path::new("/sim/keys")).unwrap().into_iter();
    let tenant = tenant.map(|listed| listed.name).find(|name| name.len() == 32).unwrap();
    remove(&both.disk, &Path::new("/sim/keys").join(tenant).join("nodes.seg"));
    assert!(code(both.restore(false)).starts_with("KEYS_MIRROR_STALE"));
    both.restore(true).unwrap();
    expect(&both.open(123).unwrap(), &[], "what the mirror has");
}
