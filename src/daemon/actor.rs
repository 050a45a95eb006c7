//! Who speaks on the control socket, in words for the journal.

use std::fs;

/// The user with this id: `ann (uid 1000)`, or the number alone when the system knows no name.
pub fn name(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    found(&users, uid).map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

fn found(users: &str, uid: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let users = "root:x:0:0::/:/bin/sh\nbroken\nann:x:1000:100:Ann:/home/ann:/bin/sh\n";
        assert_eq!((found(users, 1000), found(users, 0), found(users, 100)), (Some("ann"), Some("root"), None));
        assert_eq!(name(u32::MAX - 7), format!("uid {}", u32::MAX - 7));
    }
}
