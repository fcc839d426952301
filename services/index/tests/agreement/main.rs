//! The engine against the reference evaluation, over generated mail.

#[cfg(test)]
mod agree;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod paging;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod upgrade;
